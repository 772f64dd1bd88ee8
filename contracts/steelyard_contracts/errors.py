"""Every error a user of Steelyard can meet, as the platform raises it and the SDK raises it again.

    SteelyardError
    ├── InvalidInputError            400  what was sent is malformed
    │   ├── InvalidNameError              a namespace, repository, branch, alias or tag name
    │   ├── InvalidPathError              a file's path inside a repository
    │   ├── InvalidReferenceError         `team/model@revision` does not parse
    │   ├── DigestMismatchError           bytes are not the bytes that were announced
    │   ├── BlobMissingError              a commit names bytes that nobody uploaded
    │   ├── DatasetUnusableError          no images, one class, another task's layout
    │   └── GateSyntaxError               a gate's rule does not parse
    ├── AuthenticationError          401  no token, or one that opens nothing
    │   └── TokenExpiredError
    ├── ForbiddenError               403  known, but not allowed
    │   ├── GatedError                    its files are for those whose request for access was accepted
    │   ├── QuarantinedError              the version holds a dangerous file
    │   └── BeingScannedError             the installation waits until every file was looked into
    ├── NotFoundError                404  also what a private thing looks like to a stranger
    │   ├── RepositoryNotFoundError
    │   ├── RevisionNotFoundError
    │   └── EntryNotFoundError
    ├── ConflictError                409  true a moment ago, or taken
    │   ├── AlreadyExistsError
    │   ├── GateRefusedError              a promotion or release the rules do not allow
    │   └── LeaseLostError                the job went on elsewhere, or ended
    ├── StaleParentError             412  somebody else's commit came first
    ├── TooLargeError                413
    ├── TooManyRequestsError         429  of one person in a short time
    └── UnavailableError             503  our fault or the network's: worth trying again

An error has a stable `code`, an HTTP `status`, a sentence (`str(error)`) and typed `details`. On the wire it
is an `ErrorBody`; `error_from_body` is its inverse, by a table of codes and never by the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, Field


class SteelyardError(Exception):
    """The base: `raise SomeError("One sentence.", field=value)`."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return self.message


class InvalidInputError(SteelyardError):
    code = "invalid_input"
    status = 400


class InvalidNameError(InvalidInputError):
    code = "invalid_name"


class InvalidPathError(InvalidInputError):
    code = "invalid_path"


class InvalidReferenceError(InvalidInputError):
    code = "invalid_reference"


class DigestMismatchError(InvalidInputError):
    code = "digest_mismatch"


class BlobMissingError(InvalidInputError):
    code = "blob_missing"


class DatasetUnusableError(InvalidInputError):
    code = "dataset_unusable"


class GateSyntaxError(InvalidInputError):
    code = "gate_syntax"


class AuthenticationError(SteelyardError):
    code = "token_invalid"
    status = 401


class TokenExpiredError(AuthenticationError):
    code = "token_expired"


class ForbiddenError(SteelyardError):
    code = "forbidden"
    status = 403


class GatedError(ForbiddenError):
    code = "gated"


class QuarantinedError(ForbiddenError):
    code = "quarantined"


class BeingScannedError(ForbiddenError):
    code = "being_scanned"


class NotFoundError(SteelyardError):
    code = "not_found"
    status = 404


class RepositoryNotFoundError(NotFoundError):
    code = "repository_not_found"


class RevisionNotFoundError(NotFoundError):
    code = "revision_not_found"


class EntryNotFoundError(NotFoundError):
    code = "entry_not_found"


class ConflictError(SteelyardError):
    code = "conflict"
    status = 409


class AlreadyExistsError(ConflictError):
    code = "already_exists"


class GateRefusedError(ConflictError):
    code = "gate_refused"


class LeaseLostError(ConflictError):
    code = "lease_lost"


class StaleParentError(SteelyardError):
    code = "stale_parent"
    status = 412


class TooLargeError(SteelyardError):
    code = "too_large"
    status = 413


class TooManyRequestsError(SteelyardError):
    code = "too_many_requests"
    status = 429


class UnavailableError(SteelyardError):
    code = "unavailable"
    status = 503


# As the system, SQLite and PostgreSQL say it.
_FULL = ("no space left on device", "disk is full", "disk quota exceeded")


def unforeseen(error: BaseException) -> UnavailableError:
    """What a user hears of a fault of the server's own, whose cause is for its log."""
    if any(words in str(error).lower() for words in _FULL):
        return UnavailableError("The server's disk is full. Nothing was written; free some of it, then try again.")
    return UnavailableError("Something went wrong here; the server's log says what. Try again later.")


class ErrorDetail(BaseModel):
    """The one error shape of `/api/v1` and `/api/device/v1`."""

    code: str
    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class ErrorBody(BaseModel):
    error: ErrorDetail


def body_of(error: SteelyardError) -> ErrorBody:
    return ErrorBody(error=ErrorDetail(code=error.code, message=error.message, details=error.details))


def error_from_body(body: ErrorBody) -> SteelyardError:
    """The error class that the code names; an unknown code becomes a plain `SteelyardError`."""
    error_class = _BY_CODE.get(body.error.code, SteelyardError)
    return error_class(body.error.message, **body.error.details)


def _family(root: type[SteelyardError]) -> Iterator[type[SteelyardError]]:
    yield root
    for child in root.__subclasses__():
        yield from _family(child)


_BY_CODE = {error_class.code: error_class for error_class in _family(SteelyardError)}
