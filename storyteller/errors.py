"""Every error that storyteller raises on purpose.

Each carries a sentence for a person (``message``), the next command to type (``hint``) and the exit code
that the command line answers with::

    StorytellerError                1   something failed
    ├── UsageInvalid                2   what was asked for makes no sense
    │   ├── InvalidParams           2   a sampling parameter is out of its range
    │   └── ConfigInvalid           2   a training or settings field is unknown or out of its range
    ├── ModelNotFound               3   no model of that name or path
    ├── DataInvalid                 4   data or a model that cannot be used as it is
    │   ├── CheckpointInvalid       4   damaged, of another architecture, or of a newer format
    │   ├── ChecksumMismatch        4   not the bytes that were promised
    │   └── CorpusEmpty             4   no story left to read, or text that is not text
    ├── DownloadFailed              5   the network, or who was asked there
    └── DependencyMissing           1   an optional package (torch, say) is not installed
"""

from __future__ import annotations


class StorytellerError(Exception):
    """Base of all errors raised on purpose: ``message`` for a person, ``hint`` the next command to type."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageInvalid(StorytellerError):
    """What was asked for makes no sense as it stands."""

    exit_code = 2


class InvalidParams(UsageInvalid):
    """A sampling parameter is out of its legal range, which the message names."""


class ConfigInvalid(UsageInvalid):
    """A field of the settings or of a training configuration is unknown or out of its legal range."""


class ModelNotFound(StorytellerError):
    """No model of that name or path is here; the hint names the command that would bring one."""

    exit_code = 3


class DataInvalid(StorytellerError):
    """Data or a model that cannot be used as it is."""

    exit_code = 4


class CheckpointInvalid(DataInvalid):
    """A checkpoint is damaged, of another architecture, or of a newer format."""


class ChecksumMismatch(DataInvalid):
    """A file does not hold the bytes that were promised."""


class CorpusEmpty(DataInvalid):
    """No story is left to read, or a file holds no text; the message names file and line."""


class DownloadFailed(StorytellerError):
    """The network failed, or the server refused."""

    exit_code = 5


class DependencyMissing(StorytellerError):
    """A package needed for this is not installed; the hint says how to install it."""
