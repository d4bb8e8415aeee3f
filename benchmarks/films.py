"""The README's moving pictures: policies of this project's presets, seed 1, trained again if their runs are gone.

    python -m benchmarks.films

MuJoCo renders through MUJOCO_GL; the committed films were made with osmesa.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont

from benchmarks.runs import finish, settings
from ppo import Trainer, load_policy
from ppo.sampling import sample

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
RUNS = Path("runs/films")
SIZE = (360, 240)  # pixels of a frame
COLOURS = 96  # of a film; GIF allows 256
EPISODES: dict[
    str, tuple[dict[str, Any], range]
] = {  # environment: its arguments, the steps to film, every how many steps
    "HalfCheetah-v5": ({"width": SIZE[0], "height": SIZE[1], "camera_name": "track"}, range(40, 100)),
    "LunarLander-v3": ({}, range(0, 400, 5)),
}
WORDS = ("policy", "gradient", "rollout")  # prompts of text/Reverse-v0
END = "."  # drawn for the end token, which is an action too
INK, GREY, RIGHT, WRONG = "#1f2328", "#8b949e", "#1a7f37", "#cf222e"


def train(env_id: str) -> Path:
    """Return the finished run of an environment's preset, seed 1."""
    return finish(settings(env_id, RUNS, "film", 1, eval_episodes=0))


def episode(env_id: str, run: Path) -> tuple[list[Image.Image], float]:
    """Return frames of one episode of the deterministic policy, and the seconds for which each is shown."""
    kwargs, steps = EPISODES[env_id]
    policy, frames = load_policy(run), []
    env = gymnasium.make(env_id, render_mode="rgb_array", **kwargs)
    with contextlib.closing(env):
        obs, _ = env.reset(seed=2)
        state, done, step = None, False, 0
        while not done and step < steps.stop:
            if step in steps:
                frames.append(Image.fromarray(np.asarray(env.render())).resize(SIZE))
            action, state = policy.act(obs, state)
            obs, _, terminated, truncated, _ = env.step(action)
            done, step = terminated or truncated, step + 1
    return frames, steps.step / env.metadata["render_fps"]


def untrained(env_id: str) -> Path:
    """Return a run that holds the policy before its first step."""
    config = settings(env_id, RUNS, "untrained", 1)
    with Trainer(config) as trainer:
        trainer.save(finished=False)
        assert trainer.run_dir is not None
        return trainer.run_dir


def answers(run: Path) -> list[str]:
    """Return a policy's answer to each of WORDS, sampled."""
    return [sample(run, 1, f"{word}>")[0][0].response for word in WORDS]


def typing(columns: dict[str, list[str]]) -> tuple[list[Image.Image], float]:
    """Return frames in which each column's answers to WORDS appear token by token; letters are green where they are right.

    Args:
        columns: answers by the column's title.
    """
    longest = max(len(text + END) for texts in columns.values() for text in texts)
    frames = [_page(columns, length) for length in range(longest + 1)]
    return frames[-1:] * 8 + frames, 0.25  # a picture that does not move shows the answers


def _page(columns: dict[str, list[str]], length: int) -> Image.Image:
    """Return one frame: the first `length` tokens of each answer."""
    scale = 3  # drawn larger, so that the letters are smooth
    page = Image.new("RGB", (300 * scale, 200 * scale), "white")
    draw, bold, plain = (
        ImageDraw.Draw(page),
        _font("DejaVuSansMono-Bold", 15 * scale),
        _font("DejaVuSansMono", 11 * scale),
    )
    draw.text((12 * scale, 10 * scale), "text/Reverse-v0, one token per step", GREY, plain)
    for row, word in enumerate(WORDS):
        top = (38 + 54 * row) * scale
        draw.text((12 * scale, top), f"{word}>", INK, bold)
        for column, (title, texts) in enumerate(columns.items()):
            left = (12 + 145 * column) * scale
            draw.text((left, top + 19 * scale), title, GREY, _font("DejaVuSansMono", 8 * scale))
            for place, letter in enumerate((texts[row] + END)[:length]):
                right = (word[::-1] + END)[place : place + 1] == letter
                draw.text((left + 11 * scale * place, top + 29 * scale), letter, RIGHT if right else WRONG, bold)
    return page.resize(SIZE, Image.Resampling.LANCZOS)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf", size)


def write(name: str, frames: list[Image.Image], seconds: float) -> Path:
    """Write frames as a GIF that repeats for ever, with one palette, and return its path."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    palette = Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames[::15]])).quantize(COLOURS)
    flat = [frame.quantize(COLOURS, palette=palette, dither=Image.Dither.NONE) for frame in frames]
    path = FOLDER / f"{name}.gif"
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=round(1000 * seconds), loop=0, optimize=True)
    return path


def text() -> tuple[list[Image.Image], float]:
    """Return the frames of the text task, before and after training."""
    after = train("text/Reverse-v0")
    return typing({"before training": answers(untrained("text/Reverse-v0")), "after 3M tokens": answers(after)})


FILMS: dict[str, Callable[[], tuple[list[Image.Image], float]]] = {
    "cheetah": lambda: episode("HalfCheetah-v5", train("HalfCheetah-v5")),
    "lander": lambda: episode("LunarLander-v3", train("LunarLander-v3")),
    "text": text,
}


def main(only: str = "") -> None:
    """Make the films.

    Args:
        only: the name of one film. Empty: all.
    """
    for name, film in FILMS.items():
        if only in name:
            path = write(name, *film())
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
