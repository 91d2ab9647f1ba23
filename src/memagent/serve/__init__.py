"""One service that reads for other programs, and its doors. Start with service.py.

service.py     offers readings as jobs: start, join, cancel and resume them
worker.py      runs the readings; each waits for its turn
shelf.py       keeps documents and the state of each reading on disk, next to the journals
intake.py      brings documents from clients onto the shelf
job.py         holds one reading that is queued or in progress, and wakes the clients that wait for it
slots.py       shares the model between owners, who take turns
outcome.py     gets the result of a reading from its journal

server.py      puts the doors on one HTTP server
guard.py       checks every request before it reaches a door
*_door.py      speak OpenAI's protocol (chat, files), serve the page, and speak MCP
splitting.py   splits a long conversation into a question and documents
direct.py      passes prompts that fit the window straight to the model

llm_plugin.py  makes memagent a model of the program `llm`
"""
