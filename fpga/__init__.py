"""Boards, synthesis, place and route."""
