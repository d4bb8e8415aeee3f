from ppo.text import Task, Vocabulary, register


def mirror(letters: int = 5) -> Task:
    """Write a word that begins with the letter asked for and reads the same backwards."""

    def reward(completions):
        return [
            sum(a == b for a, b in zip(c.response, reversed(c.response))) / letters
            if len(c.response) == letters and c.response[0] == c.prompt
            else 0.0
            for c in completions
        ]

    return Task(Vocabulary("abcd"), reward, max_tokens=letters + 1, prompt=lambda rng: rng.choice(list("abcd")))


register("Mirror-v0", mirror)
