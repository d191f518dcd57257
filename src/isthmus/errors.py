"""Every error that isthmus raises on purpose.

IsthmusError
├── ParameterError   a constructor argument is out of range          (also ValueError)
├── DataError        data cannot be used as given                     (also ValueError)
├── ShapeError       two parts do not fit each other                  (also ValueError)
├── UnsupportedError this model cannot do that, by its nature         (also ValueError, AttributeError)
├── TrainingError    training cannot go on (the objective is not finite)
│   └── ContactError another process that trains the same model is gone
├── ExportError      a file for other programs does not give what the model gives (also RuntimeError)
├── CheckpointError  a folder of checkpoints cannot be held, read or written   (also OSError)
└── FileError        a saved model cannot be read or written          (also ValueError)
"""

__all__ = [
    "CheckpointError",
    "ContactError",
    "DataError",
    "ExportError",
    "FileError",
    "IsthmusError",
    "ParameterError",
    "ShapeError",
    "TrainingError",
    "UnsupportedError",
]


class IsthmusError(Exception):
    """The common ancestor: ``except IsthmusError`` catches all of them."""


class ParameterError(IsthmusError, ValueError):
    """An argument has a value that is not allowed; the message names it and what is."""


class DataError(IsthmusError, ValueError):
    """The data cannot be used as given; the message says what would mend them."""


class ShapeError(IsthmusError, ValueError):
    """Two parts do not fit; the message names both and what each expects."""


class UnsupportedError(IsthmusError, ValueError, AttributeError):
    """The model cannot do what was asked, by its nature (an ELBO without a likelihood)."""


class TrainingError(IsthmusError, RuntimeError):
    """Training cannot go on, for instance since the objective is no longer finite."""


class ContactError(TrainingError):
    """Another process that trains the same model was killed, failed or does not answer."""


class ExportError(IsthmusError, RuntimeError):
    """A model cannot leave as a file, or the file does not give what the model gives; none is left."""


class CheckpointError(IsthmusError, OSError):
    """A folder of checkpoints is another run's, cannot be read or cannot be written."""


class FileError(IsthmusError, ValueError):
    """A model folder is incomplete, was changed, or must not be overwritten."""
