"""The commands on a run print what they find."""

from command_line import ran


def test_samples_are_printed_with_their_returns_and_the_mean(capsys, monkeypatch):
    options = {}

    def sample(*args, **more):
        options.update(more)
        return [("k → a b", 1.0), ("k → c", 0.5)]

    monkeypatch.setattr("ppo.sampling.sample", sample)
    out = ran(capsys, "sample", "RUN", "-n", "2", "--temperature", "0.5")
    assert out.splitlines() == ["       1  k → a b", "     0.5  k → c", "    0.75  mean return"]
    assert options == {"temperature": 0.5}  # the others stay the run's


def test_a_chat_alternates_turns_and_an_empty_line_ends_it(capsys, monkeypatch):
    lines = iter(["hello", ""])
    monkeypatch.setattr("rich.console.Console.input", lambda self, prompt: next(lines))
    answers = []

    def chat(run, ask, checkpoint, seed):
        answers.extend([ask("hi"), ask("how are you")])
        return "hi hello"

    monkeypatch.setattr("ppo.sampling.chat", chat)
    assert ran(capsys, "chat", "RUN").splitlines() == ["policy  hi", "policy  how are you", "hi hello"]
    assert answers == ["hello", None]
