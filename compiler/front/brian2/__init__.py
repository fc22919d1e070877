"""Networks of Brian2 as graphs (extra `brian2`). What needs the package imports it inside functions."""

from cortexc.compiler.front.brian2.importing import Imported as Imported
from cortexc.compiler.front.brian2.importing import from_brian2 as from_brian2
