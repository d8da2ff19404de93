"""What the demos print."""

from __future__ import annotations

from rich.console import Console


def say(console: Console, title: str, text: str) -> None:
    """Print the title of a step and its explanation."""
    console.print(f"\n[bold]{title}[/bold]\n{text}")
