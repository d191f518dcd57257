"""One model trained by the workers of Ray Train: ``pip install 'ray[train]' isthmus``, then run this file.

Each worker is a process, on any machine of the Ray cluster. Ray makes the group, `isthmus.launch` joins it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

WORKERS = 2


def train(config: dict) -> None:
    """In each worker: fit, and let Ray keep the model that the first one saves."""
    import ray.train
    from sklearn.datasets import load_digits

    import isthmus

    def fit() -> isthmus.Autoencoder:
        return isthmus.Autoencoder(max_epochs=config["max_epochs"], random_state=0).fit(load_digits().data)

    model = isthmus.launch(fit)
    figures = {"objective": model.history_[-1]["objective"], "processes": ray.train.get_context().get_world_size()}
    with tempfile.TemporaryDirectory() as folder:
        first = ray.train.get_context().get_world_rank() == 0
        if first:
            model.save(Path(folder) / "model")
        ray.train.report(figures, checkpoint=ray.train.Checkpoint.from_directory(folder) if first else None)


def main(max_epochs: int = 5) -> None:
    """Train on two workers, load the model."""
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    import isthmus

    scaling = ScalingConfig(num_workers=WORKERS, use_gpu=False)
    trainer = TorchTrainer(train, train_loop_config={"max_epochs": max_epochs}, scaling_config=scaling)
    result = trainer.fit()
    with result.checkpoint.as_directory() as folder:
        model = isthmus.load(Path(folder) / "model")
    sys.stdout.write(f"{result.metrics['processes']} workers, objective {result.metrics['objective']:.4f}: {model}\n")


if __name__ == "__main__":
    main()
