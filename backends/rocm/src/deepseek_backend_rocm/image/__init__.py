"""Images for machines without Python: the fat artifact as C sources, with a launcher over HIP's module API."""

__all__: list[str] = []
