"""Which of the four ways serves: arms asked the same frozen cases, scored without a judge, told with intervals."""
