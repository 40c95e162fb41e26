"""What must hold for a model, one kind of rule a file; `ir.verify` runs them all."""

__all__: list[str] = []
