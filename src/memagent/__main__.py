"""`python -m memagent`"""

from memagent.cli import main

main()
