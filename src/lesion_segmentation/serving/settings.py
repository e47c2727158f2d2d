"""Settings of the service."""

from pydantic import Field

from lesion_segmentation.core.parameter_model import ParameterModel


class ServiceSettings(ParameterModel):
    """Limits that keep one client from blocking the others.

    Attributes:
        token: Token that predictions require in the header `Authorization: Bearer <token>`; None requires none.
        max_bytes: Maximum size of a request body. Larger bodies are refused with status 413.
        max_pixels: Maximum number of pixels of an image. Larger images are refused with status 413 before decoding.
        max_waiting: Maximum number of images in memory. Further images are refused with status 429.
        seconds: Time limit for the arrival of a body (status 408) and for its prediction (status 503).
        batch_size: Images per forward pass.
        connections: Maximum number of open connections. Further ones are refused with status 503.
    """

    token: str | None = Field(None, min_length=1)
    max_bytes: int = Field(25_000_000, ge=1)
    max_pixels: int = Field(50_000_000, ge=1)
    max_waiting: int = Field(64, ge=1)
    seconds: float = Field(30, gt=0)
    batch_size: int = Field(8, ge=1)
    connections: int = Field(500, ge=1)
