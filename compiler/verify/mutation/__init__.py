"""The verifier itself, verified: small mistakes in circuits, and whether they are found."""
