"""Asking a version what it makes of pictures."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from steelyard.transport import Transport
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.prediction import (
    THRESHOLD,
    TOP,
    PredictionAnswer,
    PredictionRequest,
    PredictionState,
    PredictionView,
)
from steelyard_contracts.refs import Ref, parse_ref

_WAIT_SECONDS = 0.5


def predict(
    transport: Transport,
    ref: str | Ref,
    pictures: Sequence[str | Path],
    *,
    top: int = TOP,
    threshold: float = THRESHOLD,
) -> PredictionAnswer:
    """Raises: InvalidInputError for what cannot be read or asked; OSError for a file that is not there."""
    one = parse_ref(ref) if isinstance(ref, str) else ref
    texts = [base64.b64encode(Path(path).read_bytes()).decode() for path in pictures]
    body = PredictionRequest(pictures=texts, top=top, threshold=threshold)
    home = f"/api/v1/{one.kind.plural}/{one.repository}/versions/{quote(one.revision_or_default, safe='')}"
    view = transport.post(PredictionView, f"{home}/predict", body)
    while view.state is PredictionState.WAITING:
        time.sleep(_WAIT_SECONDS)
        view = transport.get(PredictionView, f"/api/v1/predictions/{view.id}")
    if view.answer is None:
        raise InvalidInputError(view.error or "The prediction failed.")
    return view.answer
