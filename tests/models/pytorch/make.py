"""Make `digits_resnet.tflite` beside this: a small ResNet in PyTorch, trained on the digits, through litert-torch.

    python -m venv torch-env && torch-env/bin/pip install torch==2.13.0 litert-torch==0.10.0 scikit-learn
    torch-env/bin/python tests/models/pytorch/make.py

The file is kept as data, so that tests need neither package. Its input is `[1, 1, 8, 8]`, PyTorch's layout.
"""

from __future__ import annotations

from pathlib import Path

import litert_torch
import torch
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).parent
EPOCHS, BATCH = 12, 64


class Block(nn.Module):
    """Two convolutions with a shortcut (He et al., 2015)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[batch, channels, height, width]` in and out."""
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


def build() -> nn.Module:
    """A stem, two blocks, a global pool and a dense layer; logits."""
    stem = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
    ending = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    return nn.Sequential(stem, Block(8, 16, 1), nn.MaxPool2d(2), Block(16, 32, 2), *ending)


def main() -> None:
    """Train for seconds and convert."""
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    y = torch.tensor(digits.target)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(1347).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    model.eval()
    right = (model(x[1347:]).argmax(1) == y[1347:]).float().mean()
    litert_torch.convert(model, (x[:1],)).export(str(HERE / "digits_resnet.tflite"))
    print(f"accuracy {right:.3f}")  # noqa: T201


if __name__ == "__main__":
    main()
