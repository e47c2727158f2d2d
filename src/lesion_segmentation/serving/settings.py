"""What the service can be told."""

from pydantic import Field

from lesion_segmentation.core.parameter_model import ParameterModel


class ServiceSettings(ParameterModel):
    """Bounds of a service, so that no caller can take it from the others.

    Attributes:
        token: Who asks for a prediction must bring it as `Authorization: Bearer <token>`; none lets everybody.
        max_bytes: Of a request's body; more is answered 413.
        max_pixels: Of a picture; more is answered 413 before it is decoded.
        max_waiting: Pictures that wait for the network; more are answered 429.
        seconds: In which a body must have come (else 408), and in which a picture must be predicted (else 503).
        batch_size: Pictures that are predicted at once.
        connections: Open at once; more are answered 503.
    """

    token: str | None = Field(None, min_length=1)
    max_bytes: int = Field(25_000_000, ge=1)
    max_pixels: int = Field(50_000_000, ge=1)
    max_waiting: int = Field(64, ge=1)
    seconds: float = Field(30, gt=0)
    batch_size: int = Field(8, ge=1)
    connections: int = Field(500, ge=1)
