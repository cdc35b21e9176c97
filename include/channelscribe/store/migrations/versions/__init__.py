"""The migrations, in order of their numbers; one that was released is never changed."""
