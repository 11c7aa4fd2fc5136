"""The work of benches/toy.rs in eager PyTorch, for comparison: one training step of the 2-D toy
(batch 127) and one sampler step (1,000 points), one thread.

    python runners/runner/benches/toy_eager.py     # needs torch; nothing else of the project does
"""

import math
import time

import torch

torch.set_num_threads(1)
T, BATCH, POINTS = 100, 127, 1000


def cosine(steps):
    u = torch.arange(steps + 2, dtype=torch.float64) / (steps + 1)
    a = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    alpha = (a[1:] / a[:-1]).clamp(min=1e-3)
    alpha_bar = torch.cumprod(alpha, 0).float()
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), (1 - alpha).clamp(0, 0.999).float()


mean, std, beta = cosine(T)
data = torch.randn(10_000, 2) * 3 + 2
net = torch.nn.Sequential(
    torch.nn.Linear(4, 32), torch.nn.SiLU(), torch.nn.Linear(32, 32), torch.nn.SiLU(), torch.nn.Linear(32, 2)
)
adam = torch.optim.Adam(net.parameters(), lr=1e-3)


def tau_of(x):
    return torch.stack([x.norm(dim=1).log(), torch.atan2(x[:, 1], x[:, 0])], 1)


def point(tau):
    return tau[:, :1].exp() * torch.stack([tau[:, 1].cos(), tau[:, 1].sin()], 1)


def features(tau, t):
    return torch.cat([tau[:, :1], tau[:, 1:].cos(), tau[:, 1:].sin(), t], 1)


def train_step():
    x = data[torch.randint(10_000, (BATCH,))]
    t = torch.randint(1, T + 1, (BATCH,))
    m, s = mean[t][:, None], std[t][:, None]
    eta = torch.randn(BATCH, 2)
    tau = m * tau_of(x) + s * eta
    loss = (net(features(tau, t[:, None] / T)) + eta - s * tau / 2).square().sum(1).mean()
    adam.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
    adam.step()


@torch.no_grad()
def sampler_step(tau, t):
    q = net(features(tau, torch.full((POINTS, 1), t / T))) / std[t]
    return tau + beta[t] * q + beta[t].sqrt() * torch.randn(POINTS, 2)


def median_ms(f, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2] * 1e3


for _ in range(200):
    train_step()
tau = torch.randn(POINTS, 2)
print(f"training step, batch {BATCH}: {median_ms(train_step, 2000):.3f} ms")
print(f"sampler step, {POINTS} points: {median_ms(lambda: sampler_step(tau, 50), 2000):.3f} ms")
