"""The intermediate tasks, in English: every file here declares one."""
