"""A causal language model of Hugging Face as the policy: a tiny GPT-2 with random weights learns to copy letters.

    pip install transformers
    python examples/huggingface_policy.py                                                       # from Python, as below
    cd examples && ppo train text/Copy-v0 --policy huggingface_policy:HuggingFace --context 8   # the same on the command line

The tokens so far are the state, so any model that maps token ids to logits will do; its tied weights stay tied when a run is saved,
resumed and exported. It is good for comparing architectures on small tasks, and for models of some millions of parameters: give the
weights of `from_pretrained` to the class, and the task the tokenizer's vocabulary, in its order. It is not good for large models: each
step computes the model on all tokens so far, without a cache of keys and values, so a sequence of L tokens costs L times as much.
"""

from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from ppo import Features, Head, Policy, Trainer, evaluate, preset


class HuggingFace(Policy):
    """GPT-2, and a linear critic on its last layer. The state holds the last `context` tokens, plus 1; 0 is an empty place."""

    def __init__(self, obs_space: Space[Any], action_space: Space[Any], *, context: int, **options: Any) -> None:
        super().__init__()
        self.features = Features(obs_space)  # a token as a one-hot vector, and the action mask if there is one
        self.head = Head(action_space, self.features.mask_size, **options)
        self.state_size, width = context, (options["hidden_sizes"] or (64,))[-1]
        sizes = {"n_positions": context, "n_embd": width, "n_layer": options["num_layers"], "n_head": width // 16}
        others = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": None, "eos_token_id": None}
        self.model = GPT2LMHeadModel(GPT2Config(vocab_size=self.features.size, **sizes, **others))
        self.critic = nn.Linear(width, 1)

    def forward(self, obs: Tensor, state: Tensor, starts: Tensor) -> tuple[Any, Tensor, Tensor]:
        """Return the distribution over the next token, the values (T, N), and the tokens so far (N, H)."""
        one_hot, mask = self.features(obs)
        steps = []
        for token, start in zip(one_hot.argmax(-1, keepdim=True), starts, strict=True):  # (N, 1), (N,)
            state = state.masked_fill(start.unsqueeze(-1), 0.0)
            state = torch.where(
                state[:, -1:] > 0, state.roll(-1, 1), state
            )  # if it is full, the oldest goes to the end
            place = (state > 0).sum(-1, keepdim=True).clamp(max=self.state_size - 1)  # and the new one replaces it
            state = state.scatter(1, place, token + 1.0)
            steps.append(state)
        tokens = torch.stack(steps).flatten(0, 1)  # (T N, H)
        ids = (tokens - 1).clamp(min=0).long()  # nothing sees the places after its own
        hidden = self.model.transformer(input_ids=ids, use_cache=False).last_hidden_state  # (T N, H, W)
        last = ((tokens > 0).sum(-1) - 1).view(-1, 1, 1).expand(-1, 1, hidden.shape[-1])
        hidden = hidden.gather(1, last).view(*starts.shape, -1)  # (T, N, W)
        logits = self.model.lm_head(hidden)[..., : self.head.num_outputs]  # the environment's own symbols come last
        return self.head(logits, mask), self.critic(hidden).squeeze(-1), state


def main(total_timesteps: int = 60_000) -> float:
    """Train, and return the share of letters that the policy copies."""
    policy = "huggingface_policy:HuggingFace"
    config = preset("text/Copy-v0", policy=policy)
    sizes = {
        "hidden_sizes": (64,),
        "num_layers": 1,
        "context": 8,
        "num_envs": 128,
        "num_steps": 16,
        "num_minibatches": 4,
    }
    task = {"env_kwargs": {"length": 3, "letters": 4}, "total_timesteps": total_timesteps, "learning_rate": 3e-3}
    run = Trainer(config.replace(sizes | task)).train()
    solved = evaluate(run, episodes=200).metric("solved")
    print(f"copies {solved:.0%} of 200 prompts")
    return solved


if __name__ == "__main__":
    main()
