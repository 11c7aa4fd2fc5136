"""The work of benches/toy.rs in eager PyTorch, for comparison: one training step of the 2-D and
the 3-D toy (batch 127) and one sampler step (1,000 points), one thread.

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


class Toy:
    """Flow coordinates (log r, angles) of the plane or of space; the network sees log r, x / r and t."""

    def __init__(self, dimension):
        self.dimension = dimension
        self.data = torch.randn(10_000, dimension) * 3 + 2
        self.net = torch.nn.Sequential(
            torch.nn.Linear(dimension + 2, 32),
            torch.nn.SiLU(),
            torch.nn.Linear(32, 32),
            torch.nn.SiLU(),
            torch.nn.Linear(32, dimension),
        )
        self.adam = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.tau = torch.randn(POINTS, dimension)

    def tau_of(self, x):
        if self.dimension == 2:
            return torch.stack([x.norm(dim=1).log(), torch.atan2(x[:, 1], x[:, 0])], 1)
        rho = torch.hypot(x[:, 0], x[:, 1])
        r = torch.hypot(rho, x[:, 2])
        return torch.stack([r.log(), torch.atan2(rho, x[:, 2]), torch.atan2(x[:, 1], x[:, 0])], 1)

    def unit(self, tau):
        cos, sin = tau[:, 1:].cos(), tau[:, 1:].sin()
        if self.dimension == 2:
            return torch.cat([cos, sin], 1)
        return torch.stack([sin[:, 0] * cos[:, 1], sin[:, 0] * sin[:, 1], cos[:, 0]], 1)

    def features(self, tau, t):
        return torch.cat([tau[:, :1], self.unit(tau), t], 1)

    def sign(self, tau):
        eps = torch.ones_like(tau)
        if self.dimension == 3:
            eps[:, 1] = tau[:, 1].sin().sign()
        return eps

    def train_step(self):
        x = self.data[torch.randint(10_000, (BATCH,))]
        t = torch.randint(1, T + 1, (BATCH,))
        m, s = mean[t][:, None], std[t][:, None]
        eta = torch.randn(BATCH, self.dimension)
        tau = m * self.tau_of(x) + s * eta
        target = self.sign(tau) * (s * tau / 2 - eta)
        loss = (self.net(self.features(tau, t[:, None] / T)) - target).square().sum(1).mean()
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.adam.step()

    @torch.no_grad()
    def sampler_step(self, t=50):
        q = self.net(self.features(self.tau, torch.full((POINTS, 1), t / T))) / std[t]
        q = self.sign(self.tau) * q
        return self.tau + beta[t] * q + beta[t].sqrt() * torch.randn(POINTS, self.dimension)


def median_ms(f, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2] * 1e3


for dimension in (2, 3):
    toy = Toy(dimension)
    for _ in range(200):
        toy.train_step()
    print(f"{dimension}-D: training step, batch {BATCH}: {median_ms(toy.train_step, 2000):.3f} ms")
    print(f"{dimension}-D: sampler step, {POINTS} points: {median_ms(toy.sampler_step, 2000):.3f} ms")
