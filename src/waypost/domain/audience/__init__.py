"""People: profiles and the identifiers that lead to them."""
