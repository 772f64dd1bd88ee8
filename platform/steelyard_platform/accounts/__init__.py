"""People, teams, roles, tokens and the audit trail; and the one function that answers every "may X do Y to Z"."""
