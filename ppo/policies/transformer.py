"""The transformer policy: a small decoder whose state is its cache of keys and values."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppo.errors import UsageError
from ppo.machine.operations import lookup
from ppo.policies.recurrent import RecurrentPolicy

HEAD_SIZE = 16  # width of one attention head
FAR = -1e9  # an attention score that counts as none


class Layer(nn.Module):
    """Attention over the last `context` steps of the episode, and two linear layers, each beside a residual path.

    How far back a step lies has a key of its own, which is added to that of its content (Shaw et al. 2018, equation 4): so a
    query may ask for a distance that depends on what was read. Nothing ends where the context does, and the cache needs no
    positions.
    """

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.heads, self.context = width // HEAD_SIZE, context
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.distance = nn.Parameter(torch.zeros(self.heads, HEAD_SIZE, context))  # keys of distances

    def forward(self, x: Tensor, cache: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (N, T, W), keys and values (N, 2, C, W) and what each step sees (N, T, C + T) -> the same, a step on."""
        steps = x.shape[1]
        query, *pair = self.qkv(self.before(x)).chunk(3, dim=-1)  # (N, T, W) each
        cache = torch.cat([cache, torch.stack(pair, dim=1).to(cache.dtype)], dim=2)  # (N, 2, C + T, W)
        key, value = cache.to(x.dtype).unbind(1)
        q, k, v = (part.unflatten(-1, (self.heads, HEAD_SIZE)).transpose(1, 2) for part in (query, key, value))
        t = torch.arange(steps, device=x.device)
        back = t[:, None] - torch.arange(-self.context, steps, device=x.device)  # (T, C + T)
        lies = back.unsqueeze(1) == torch.arange(self.context, device=x.device)[:, None]  # (T, C, C + T) at a distance
        far = (q @ self.distance / math.sqrt(HEAD_SIZE)).permute(2, 0, 1, 3)  # (T, N, heads, C)
        scores = torch.bmm(far.flatten(1, 2), lies.to(far.dtype))  # a product in place of a lookup
        scores = scores.unflatten(1, (-1, self.heads)).permute(1, 2, 0, 3)  # (N, heads, T, C + T)
        scores = torch.where(seen.unsqueeze(1), scores, FAR)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=scores.to(q.dtype))  # (N, heads, T, 16)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.after(x)), cache[:, :, -self.context :]


class Transformer(nn.Module):
    """Decoder (Vaswani et al. 2017, normalised before each part) over the steps of an episode.

    Each step also knows its place in the episode, up to `context`: shown what to copy, two layers come to a perplexity of
    1.28 after 100,000 tokens with it, and of 2.53 without. The state is the keys and values of the last `context` steps, layer by
    layer, and how many of them are the episode's.
    """

    def __init__(self, input_size: int, *, num_layers: int = 1, context: int = 32, **_: Any) -> None:
        super().__init__()
        self.output_size, self.context = input_size, context
        if self.output_size % HEAD_SIZE:
            raise UsageError(
                f"hidden_sizes = {self.output_size} of a transformer is no multiple of {HEAD_SIZE}; choose one"
            )
        self.layers = nn.ModuleList(Layer(self.output_size, context) for _ in range(num_layers))
        self.norm = nn.LayerNorm(self.output_size)
        self.place = nn.Parameter(0.1 * torch.randn(1 + context, self.output_size))  # of a step in its episode
        self.shape = (num_layers, 2, context, self.output_size)
        self.state_size = 1 + num_layers * 2 * context * self.output_size

    def forward(self, x: Tensor, state: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        steps = len(starts)
        count, caches = state[:, :1], state[:, 1:].unflatten(-1, self.shape)  # (N, 1), (N, layers, 2, C, W)
        episode = starts.t().cumsum(1)  # (N, T) how many have begun
        t = torch.arange(steps, device=x.device)
        cached = torch.arange(-self.context, 0, device=x.device)  # before the first step
        # A cached step is seen by the episode that goes on from it, a step of now by later ones of its episode.
        old = (episode == 0).unsqueeze(-1) & (cached >= -count).unsqueeze(1)  # (N, T, C)
        new = episode.unsqueeze(-1) == episode.unsqueeze(1)  # (N, T, T)
        back = t[:, None] - torch.cat([cached, t])  # (T, C + T)
        seen = torch.cat([old, new], dim=-1) & (back >= 0) & (back < self.context)
        earlier = starts.t().unsqueeze(1) & (t <= t[:, None])  # (N, T, T) an episode began there, by then
        begun = torch.where(earlier, t, -1).amax(-1)  # (N, T) when the last one did; -1: before
        place = torch.where(begun < 0, count.long() + t, t - begun).clamp(max=self.context)
        x, after = x.transpose(0, 1) + lookup(place, self.place), []  # (N, T, W)
        for layer, cache in zip(self.layers, caches.unbind(1), strict=True):
            x, cache = layer(x, cache, seen)
            after.append(cache.flatten(1))
        since = (episode == episode[:, -1:]).sum(1, keepdim=True)  # steps of the last episode within these
        count = since + torch.where(episode[:, -1:] == 0, count, torch.zeros_like(count))
        return self.norm(x).transpose(0, 1), torch.cat([count.clamp(max=self.context), *after], dim=-1)


class TransformerPolicy(RecurrentPolicy):
    """Policy that attends to the last steps of the episode."""

    trunk = Transformer
