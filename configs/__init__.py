"""Recipes as YAML, installed as package data so that their names work from a wheel."""
