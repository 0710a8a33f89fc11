"""What a JAX program consists of: the layers of a function of any library, read from its jaxpr; nothing is executed."""

from cnnjax.programs import summary
from cnnjax.programs.program_summary import ProgramRow, ProgramSummary

__all__ = ["ProgramRow", "ProgramSummary", "summary"]
