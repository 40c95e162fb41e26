"""How the backend checks itself: random units against the compiler, mutated programs against the emulator."""

__all__: list[str] = []
