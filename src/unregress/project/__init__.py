"""One object for a user's model, data and training: forget, audit, save."""

from unregress.project.forgotten import Forgotten
from unregress.project.project import Project
from unregress.project.table import Columns

__all__ = ["Columns", "Forgotten", "Project"]
