"""A reading under way, and on disk: driven, journalled, resumed."""
