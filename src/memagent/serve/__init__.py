"""One service that reads for other programs, and its doors. Start with service.py.

service.py     readings as jobs: started, joined, cancelled, resumed after a restart
shelf.py       what is on disk: documents, and the state of each reading, beside the journals
intake.py      brings documents from clients onto the shelf
job.py         one reading that is queued or under way, and who waits for it
slots.py       a queue that serves owners in turn
outcome.py     the result of a reading, from its journal

server.py      the doors on one HTTP server
guard.py       what every request has to pass before a door
*_door.py      OpenAI's protocol (chat, files), the page, MCP
splitting.py   what is the problem in a long conversation, and what is the document
direct.py      prompts that fit the window and need no reading

llm_plugin.py  memagent as a model of the program `llm`
"""
