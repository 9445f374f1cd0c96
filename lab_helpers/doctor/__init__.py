"""Findings about this machine: a stable ID, what was seen, advice, and a cure where it is safe."""

from lab_helpers.doctor.cures import fix, plan
from lab_helpers.doctor.engine_cures import retire
from lab_helpers.doctor.examination import CHECKS, examine
from lab_helpers.doctor.packages import installed_by_us
from lab_helpers.doctor.report import Finding, Level, Machine, Report

__all__ = ["CHECKS", "Finding", "Level", "Machine", "Report", "examine", "fix", "installed_by_us", "plan", "retire"]
