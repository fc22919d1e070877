"""The compiler: circuits to programs. Read docs/architecture.md first."""
