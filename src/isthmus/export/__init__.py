"""A fitted estimator as a file that other programs run, without isthmus and without its classes."""

from isthmus.export.files import Exported, export

__all__ = ["Exported", "export"]
