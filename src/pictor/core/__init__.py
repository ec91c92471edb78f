"""The mathematics and the records that everything stands on. Needs numpy and the standard library only."""
