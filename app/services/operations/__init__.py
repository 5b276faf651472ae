"""Looking after a workspace: doctor, health, upkeep, support bundles."""
