"""Errors named by the boundary at which they arise. Each message says what happened, where, and what to do."""


class ValorError(Exception):
    """Any failure that a user can act on; the CLI prints its message without a traceback.

    `code` is the stable machine-readable name sent in HTTP replies as `error.code`.
    """

    code = "internal"


class ConfigError(ValorError):
    code = "config"


class ImageError(ValorError):
    code = "image"


class QuestionError(ValorError):
    code = "question"


class PolicyError(ValorError):
    code = "policy"


class ToolError(ValorError):
    """A vision tool was called with wrong arguments or its model failed."""

    code = "tool"


class ProgramError(ValorError):
    code = "program"


class JudgeError(ValorError):
    code = "judge"


class CheckpointError(ValorError):
    """A checkpoint folder is incomplete or its keys do not fit the model."""

    code = "checkpoint"


class ServiceError(ValorError):
    """The running app cannot be reached, did not start, or is overloaded."""

    code = "service"


class StorageError(ValorError):
    """Records of a run cannot be written: a full disk, a folder that has gone."""

    code = "storage"
