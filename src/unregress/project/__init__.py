"""One object for a user's model, data and training: forget, audit, save."""

from unregress.project.columns import Columns
from unregress.project.forgotten import Forgotten
from unregress.project.project import Project

__all__ = ["Columns", "Forgotten", "Project"]
