"""Text: tasks in which one step is one token, as ordinary vector environments."""

import gymnasium

from ppo.text.completion import Completion
from ppo.text.env import TokenEnv, register
from ppo.text.task import Task
from ppo.text.tasks import strings
from ppo.text.tasks.dialogue import dialogue
from ppo.text.tasks.formulas import formulas
from ppo.text.tasks.frontier import frontier
from ppo.text.tasks.molecules import molecules
from ppo.text.tasks.pronounce import pronounce
from ppo.text.tasks.walks import random_walks
from ppo.text.tasks.write import write
from ppo.text.vocabulary import Vocabulary

__all__ = ["Completion", "Task", "TokenEnv", "Vocabulary", "register"]

register("text/Copy-v0", strings.copy)
register("text/Reverse-v0", strings.reverse)
register("text/Dedup-v0", strings.dedup)
register("text/Add-v0", strings.add)
register("text/RandomWalks-v0", random_walks)
register("text/Frontier-v0", frontier)
register("text/Formulas-v0", formulas)
register("text/Write-v0", write)
register("text/Dialogue-v0", dialogue)
gymnasium.register("text/NextToken-v0", vector_entry_point="ppo.text.tasks.next_token:next_token")
register("text/Pronounce-v0", pronounce)
register("text/Molecules-v0", molecules)
