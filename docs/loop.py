"""A variational autoencoder in an ordinary PyTorch loop: parts of isthmus, nothing of its engine."""

import torch
from sklearn.datasets import load_digits

from isthmus import BinaryCrossEntropy, Gaussian, MLPDecoder, MLPEncoder, Seen, Space


def train(epochs: int = 30) -> tuple[torch.nn.ModuleDict, list[float]]:
    """The trained parts, and −ELBO in nats per digit after each epoch."""
    torch.manual_seed(0)
    x = torch.from_numpy(load_digits().data > 8).float()  # (1797, 64), ink or none
    encoder = MLPEncoder(hidden_dims=(128,)).build(Space((64,)))
    bottleneck = Gaussian().build(encoder.out, latent_dim=8)
    decoder = MLPDecoder(hidden_dims=(128,)).build(bottleneck.out, Space((64,)))
    loss = BinaryCrossEntropy()  # −log p(x|z)
    parts = torch.nn.ModuleDict({"encoder": encoder, "bottleneck": bottleneck, "decoder": decoder})
    optimizer = torch.optim.Adam(parts.parameters(), lr=2e-3)
    history = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(x)).split(128):
            latent = bottleneck(encoder(Seen(x[rows])))  # z = μ + σ ε, ε ~ N(0, I)
            nll, kl = loss(decoder(latent), x[rows]), latent.kl.sum(1)  # each (B,), in nats
            objective = (nll + kl).mean()
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
            total += objective.item() * len(rows)
        history.append(total / len(x))
    return parts, history


if __name__ == "__main__":
    print("−ELBO by epoch:", *[f"{value:.2f}" for value in train()[1]])
