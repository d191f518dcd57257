"""The denoising autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from isthmus import adapters, spec
from isthmus.bottlenecks import Dense, Identity
from isthmus.checks import Check, choice, either
from isthmus.corruptions import GaussianNoise, TokenMasking
from isthmus.encoders import UNetEncoder
from isthmus.errors import DataError, UnsupportedError
from isthmus.estimators.inputs import check_same_sizes, fits, is_list_of_images
from isthmus.estimators.parameters import seed_of
from isthmus.estimators.pictures import PictureEstimator
from isthmus.part import Bottleneck, Corruption, Encoder
from isthmus.training.rng import seeded_noise
from isthmus.types import Batch, Bypass, Seen, Space

__all__ = ["DenoisingAutoencoder"]


@dataclass(eq=False, repr=False)
class DenoisingAutoencoder(PictureEstimator):
    """Rebuilds the whole input from a damaged one (Vincent et al. 2010).

    J = mean over rows of loss(decoder(encoder(x̃)), x), x̃ drawn anew each time by the corruption. With
    ``fit(noisy, clean)`` the pairs are the user's own, and the corruption is left out.

    Parameters
    ----------
    encoder : str or Encoder
        As in all estimators; "unet" is ``UNetEncoder(global_residual=True)``, a U-Net that learns the
        noise to take away, for pictures of any size.
    bottleneck : "auto", str or Bottleneck
        "auto" is "dense", and "identity" where a U-Net decodes.
    corruption : str or Corruption
        "auto" is "gaussian_noise", and of texts "token_masking". Strengths are in scaled units:
        ``GaussianNoise((0.02, 0.2))`` for bytes, which are divided by 255, is noise of 5 to 51 grey levels.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import DenoisingAutoencoder
    >>> clean = np.random.default_rng(0).normal(size=(200, 2)) @ np.ones((2, 8))
    >>> noisy = clean + np.random.default_rng(1).normal(size=clean.shape)
    >>> DenoisingAutoencoder(max_epochs=2, random_state=0).fit(noisy, clean).reconstruct(noisy).shape
    (200, 8)
    """

    bottleneck: Any = "auto"
    corruption: Any = "auto"

    allowed: ClassVar[dict[str, Check]] = PictureEstimator.allowed | {
        "bottleneck": either(choice(["auto"]), PictureEstimator.allowed["bottleneck"]),
        "corruption": either(choice(["auto"]), PictureEstimator.allowed["corruption"]),
    }
    takes_target: ClassVar[bool] = True

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Batch:
        """Rows of X, with clean targets where y has X's shape; labels (one axis) are ignored."""
        x, mask = self._read_masked(X, reset=reset)
        name, clean = "y (the clean rows)", adapters.read(y, "y")
        if self._layout != "rows":
            return self._with_clean(Batch(x, x_mask=mask), clean, name)
        if not is_list_of_images(clean):
            clean = np.asarray(clean)
            if clean.ndim < 2:
                return Batch(x, x_mask=mask)
            if not fits(clean.shape[1:], self._sample_shape):
                raise DataError(f"{name} must hold samples of X's shape {self._sample_shape}, got {clean.shape[1:]}")
        target, y_mask = self._read_masked(clean, name=name)
        if len(target) != len(x):
            raise DataError(f"{name} must hold one for each of the {len(x)} rows of X, got {len(target)}")
        if target.shape != x.shape:
            raise DataError(f"{name} must have X's shape {tuple(x.shape)}, got {tuple(target.shape)}")
        check_same_sizes(x, mask, y_mask, "y")
        return Batch(x, target, mask, y_mask)

    def _with_clean(self, rows: Batch, clean: Any, name: str) -> Batch:
        """Series or texts with their clean ones, where y is such; labels are ignored."""
        if clean is None or all(
            np.ndim(one) == 0 and isinstance(one, str) is (self._layout == "series") for one in clean
        ):
            return rows
        target, y_mask = self._read_masked(clean, name=name)
        if len(target) != len(rows.x):
            raise DataError(f"{name} must hold one for each of the {len(rows.x)} rows of X, got {len(target)}")
        if self._layout == "series":
            if target.shape != rows.x.shape:
                raise DataError(f"{name} must have X's shape {tuple(rows.x.shape)}, got {tuple(target.shape)}")
            check_same_sizes(rows.x, rows.x_mask, y_mask, "y")
        return rows._replace(y=target, y_mask=y_mask)

    def _corruption(self) -> Corruption | None:
        if self.corruption == "auto":
            return TokenMasking() if self._layout == "texts" else GaussianNoise()
        return super()._corruption()

    def _encoder_for(self, space: Space) -> Encoder:
        return UNetEncoder(global_residual=True) if self.encoder == "unet" else super()._encoder_for(space)

    def _bottleneck_for(self) -> Bottleneck:
        if self.bottleneck != "auto":
            return super()._bottleneck_for()
        chosen = None if self.encoder == "auto" else spec.resolve("encoder", self.encoder)
        return Identity() if chosen is not None and chosen.decoder_name() == "unet" else Dense()

    def _build(self, rows: Batch) -> Batch:
        scaled = super()._build(rows)
        if rows.y is not None:
            self.module_.corruption = None
        return scaled

    def corrupt(self, X: Any, random_state: Any = 0) -> Any:
        """X as the encoder sees it in training: damaged, in the user's units and layout."""
        model = self._fitted("corrupt")
        rows = self._read(X)
        seen = Seen(model.scale(rows.x.to(model.device))[0], Bypass(mask=rows.x_mask))
        with torch.no_grad():
            if model.corruption is not None:
                seen = model.corruption(seen, seeded_noise(seed_of(random_state)))
            damaged = seen.x if model.scaler is None else model.scaler.inverse(seen.x)
        if self._layout == "texts":
            return self._damaged_texts(damaged, seen.bypass.mask)
        return self._frame(self._user_units(damaged.cpu().float(), rows.x_mask))

    @torch.no_grad()
    def restore(self, X: Any, random_state: Any = 0) -> tuple[Any, Any]:
        """X damaged as in training, and what the model makes of that, in the user's units and layout.

        What a corruption did not hide is left as it was, where it hides (`PatchMasking`).
        """
        model, rows = self._fitted("restore"), self._read(X)
        if model.corruption is None or self._layout == "texts":
            raise UnsupportedError("restore needs numbers and a corruption; reconstruct rebuilds X as it is given")
        noise = seeded_noise(seed_of(random_state))

        def both(batch: Batch) -> torch.Tensor:
            trace = model(batch, noise=noise)
            seen, made = trace.seen, model.loss.mean(trace.output)
            if seen.hidden is not None and model.corruption.hidden_only:  # type: ignore[union-attr]
                made = torch.where(seen.hidden.unsqueeze(-1), made, seen.x)
            pair = torch.stack([seen.x, made])
            return (pair if model.scaler is None else model.scaler.inverse(pair)).movedim(0, 1)

        damaged, restored = self._mapped(both, rows).float().unbind(1)
        return tuple(self._frame(self._user_units(found, rows.x_mask)) for found in (damaged, restored))  # type: ignore[return-value]

    def _damaged_texts(self, classes: torch.Tensor, mask: torch.Tensor | None) -> list[str]:
        """Texts, without the pieces that are hidden."""
        known = classes < self.tokenizer_.vocabulary_size
        known = known if mask is None else known & mask
        return self.tokenizer_.decode([row[kept].tolist() for row, kept in zip(classes, known, strict=True)])  # type: ignore[no-any-return]
