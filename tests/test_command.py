"""`ppo compare`: the command prints tables and verdicts, writes pictures and a page, and names what is wrong."""

import re

import pytest
from fake_runs import three_runs, write_run
from torch.utils.tensorboard import SummaryWriter

from ppo.cli import main as cli
from ppo.compare.command import compare_runs


@pytest.fixture
def three(tmp_path):
    return three_runs(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{folder}"], "holds no run: no progress.csv"),
        (["{folder}/run", "--against", "nobody"], "unknown source 'nobody'; choose from cleanrl-docs"),
        (["{folder}/run", "--against", "{folder}/none.csv"], "none.csv: No such file or directory"),
        (["{folder}/PPO_1"], "PPO_1 does not name its env_id; add --env-id"),
        (["{folder}/nowhere"], "nowhere does not exist"),
        (["{folder}/run/config.json"], "config.json holds no run"),
        (["--against", "cleanrl-docs"], "there are no runs to compare; name run folders, or use --list"),
        (["{folder}/broken"], "cannot read the run"),
        (["{folder}/deep"], "cannot read the run"),
        (["{folder}/fresh"], "has logged a return yet; training logs one when an episode ends, so train longer"),
        (["{folder}/run", "--out", "{folder}/run/config.json"], "cannot write to"),
        (["--list", "--env-id", "Maze-v0"], "there are no published figures for Maze-v0"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(tmp_path, capsys, arguments, sentence):
    (tmp_path / "empty").mkdir()
    if arguments != ["{folder}"]:
        write_run(tmp_path / "run")
        with SummaryWriter(str(tmp_path / "PPO_1")) as writer:
            writer.add_scalar("rollout/ep_rew_mean", 1.0, 1)
        (write_run(tmp_path / "broken") / "config.json").write_text("{")
        columns = "iteration,global_step,charts/episodic_return,eval/episodic_return"
        (write_run(tmp_path / "fresh") / "progress.csv").write_text(f"{columns}\n1,100,,\n")
        (write_run(tmp_path / "deep") / "config.json").write_text("[" * 100_000)
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *(a.format(folder=tmp_path) for a in arguments)])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""  # no table before a refusal
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_the_command_prints_a_verdict_and_writes_pictures_and_a_page(three, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cli.main(["compare", str(three), "--out", "out", "--wide"])
    out = capsys.readouterr().out
    assert "tianshou-mujoco-2021" in out
    assert "verdict  HalfCheetah-v5, ppo (3 runs): 5,033 at 1,000,000 steps (sampled policy), " in out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"HalfCheetah-v5.png", "HalfCheetah-v5.svg", "index.html"}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<svg" in page
    assert not re.search(r'(src|href)="(?!#)', page)  # nothing is fetched
    assert "Weng et al." in page
    assert page.index("verdicts, against multi-run figures") < page.index("<h3>figures on the same id</h3>")


def test_the_list_names_sources_and_figures(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    cli.main(["compare", "--list"])
    assert "Weng et al." in capsys.readouterr().out
    cli.main(["compare", "--list", "--env-id", "Hopper-v5"])
    out = capsys.readouterr().out
    assert "gymnasium-v5-validation-sb3" in out
    assert "healthy reward" in out


def test_without_a_published_figure_there_is_no_table_of_verdicts(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "Own-v0__ppo__s1", env_id="Own-v0")
    assert compare_runs([run]).summary() == []
    cli.main(["compare", str(run)])
    out = capsys.readouterr().out
    assert "no verdict, since no published figure" in " ".join(out.split())
    assert "ours: s of" not in out


def test_normalised_scores_are_0_untrained_and_1_at_the_highest_figure(tmp_path):
    for env_id in ("HalfCheetah-v5", "Hopper-v5"):
        for seed in (1, 2):
            write_run(tmp_path / env_id / f"s{seed}", seed, env_id, level=5000.0)
    (tmp_path / "mine.csv").write_text(
        "env_id,step,mean,std,seeds,protocol\n"
        "HalfCheetah-v5,1000000,5000,9,5,sampled\nHopper-v5,1000000,9900,9,5,sampled\nHopper-v5,1000000,99999,,1,sampled\n"
    )
    result = compare_runs([tmp_path / "HalfCheetah-v5", tmp_path / "Hopper-v5"], (str(tmp_path / "mine.csv"),))
    (scores,) = result.normalized().values()
    assert list(scores) == ["HalfCheetah-v5", "Hopper-v5"]
    assert scores["HalfCheetah-v5"] == pytest.approx([1.0, 1.0])
    assert scores["Hopper-v5"] == pytest.approx([4900 / 9800, 4900 / 9800])  # the first point of a curve is 100


def test_the_comparison_fits_80_columns_and_has_each_note_once_with_its_number(three, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    cli.main(["compare", str(three), "--out", "None"])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "tianshou-mujoco-2021, PPO," in out
    notes = re.findall(r"^ +(\d+)  (.*(?:\n {9}\S.*)*)", out.partition("\nours: s of")[2], re.MULTILINE)
    texts = [" ".join(text.split()) for _, text in notes]
    assert [int(number) for number, _ in notes] == list(range(1, len(notes) + 1))
    assert len(set(texts)) == len(texts) > 3
    plain = " ".join(out.split())
    assert [text for text in texts if plain.count(text) != 1] == []
    assert re.search(r"\(notes \d[\d, ]*\); multi-run figures", plain)
    assert out.index("HalfCheetah-v5, ppo, figures on the same id") < out.index("figures on other ids of the task")
    last = out.partition("\nverdicts, against multi-run figures at this budget\n")[2].splitlines()
    assert last[1].startswith("HalfCheetah-v5, ppo, 3 runs ")
    assert re.match(r"  xuance-benchmarks-2026 +same 4,942  5,033 s +91.33 +unclear", last[2])
    cli.main(["compare", "--list", "--env-id", "Hopper-v5"])
    table, *_ = capsys.readouterr().out.partition("\nnote")
    assert max(map(len, table.splitlines())) <= 80
