"""The command that compares runs with published results."""

from command_line import refused


def test_without_runs_the_command_is_refused(capsys):
    assert refused(capsys, "compare") == (
        "there are no runs to compare; name run folders, or use --list to see the published figures"
    )
