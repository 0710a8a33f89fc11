"""Interactive pages about one network: how each of its values is computed, from the pixels to the scores."""

from cnnjax.exploring.page import Page, Picture, Place, Variant, Words, explore
from cnnjax.exploring.views import View, views

__all__ = ["Page", "Picture", "Place", "Variant", "View", "Words", "explore", "views"]
