"""Words for near misses: things of a sort, matters of a workplace, names that nobody has. Data only; English."""

from __future__ import annotations

LIKE: tuple[tuple[str, ...], ...] = (
    ("Slack", "Trello", "GitHub", "Github", "Google Docs", "Dropbox", "Notion", "Jira", "Discord", "Asana", "Basecamp"),
    ("vacation", "sick leave", "sabbatical", "parental leave", "new parent leave", "bereavement leave", "study leave",
     "carer's leave", "marriage leave"),
    ("referral bonus", "signing bonus", "retention bonus", "relocation bonus"),
    ("stock options", "restricted shares", "phantom shares"),
    ("full time employees", "part time employees", "seasonal workers", "apprentices"),
    ("universities", "boot camps", "job fairs", "military bases"),
    ("San Francisco", "Oakland", "New York", "London", "Lisbon", "Nairobi", "Osaka"),
    ("United States", "Canada", "Germany", "France", "Uruguay", "Latvia"),
    ("outside capital", "a bank loan", "a government grant"),
)  # fmt: skip
"""One stands for another where the library knows the first and has never heard of the other."""

COINED = ("Veltrane", "Ostrelle", "Quorvane", "Brimholt", "Tasquil", "Merrowick", "Zandrick", "Halvorane", "Pellbrook")
"""Could be a firm, a person or a place; a search for any of them finds no such thing."""

WORKPLACE_ANCHORS: tuple[tuple[str, ...], ...] = (
    ("employee", "staff"),
    ("vacation", "holiday", "leave", "time off"),
    ("salary", "salaries", "payroll", "compensation", "wage"),
    ("manager", "supervisor", "founder"),
    ("benefits", "insurance", "bonus"),
)
"""A library that speaks of nearly all of these is one of a workplace."""

WORKPLACE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("How much does the company pay towards a standing desk?", ("desk", "furniture")),
    ("Who gets a parking space, and what does it cost?", ("parking", "car park", "garage")),
    ("How many days of unpaid leave can I take for moving house?", ("moving house", "house move", "relocat")),
    ("What is the mileage rate when I use my own car for work?", ("mileage", "per mile", "own car", "own vehicle")),
    ("Which nurseries does the company pay childcare costs for?", ("nurser", "childcare", "daycare", "kindergarten")),
    ("How many language courses does the company pay for each year?", ("language course", "language class")),
    ("What is the probation period for new staff?", ("probation", "trial period", "introductory period")),
    ("How much notice must I give when I resign?", ("resign", "notice period", "notice", "quit", "at-will", "at will")),
    ("Which mobile phone contract does the company provide?", ("mobile phone", "cell phone", "phone bill")),
    ("What is the limit on the corporate credit card?", ("credit card", "company card", "corporate card")),
    ("How are overtime hours paid on weekends?", ("overtime", "time and a half", "exempt")),
    ("Who is the works council's chairperson?", ("works council", "union", "chairperson")),
    ("What does a meal in the canteen cost?", ("canteen", "cafeteria")),
    ("How many weeks of salary are paid as severance?", ("severance", "redundan")),
    ("What temperature is the office heated to in winter?", ("temperature", "heating", "heated", "thermostat")),
    ("Who waters the plants in the office?", ("plants", "gardener")),
    ("How often is the company's eye test offered?", ("eye test", "optician", "eyesight")),
    ("What discount do employees get on public transport passes?", ("public transport", "transit", "commut")),
    ("How much does the company pay into the pension fund?", ("pension", "401", "retirement")),
    ("Which charity receives the yearly company donation?", ("charity", "charities", "donat")),
    ("How long are recordings of the security cameras kept?", ("camera", "cctv", "surveillance")),
    ("Who may book the company's holiday apartment?", ("apartment", "holiday home", "cottage")),
    ("What is the age limit for the apprenticeship?", ("apprentice",)),
    ("How many visitors may I bring to the summer party?", ("summer party", "summer picnic")),
    ("What does a replacement key card cost?", ("key card", "keycard", "badge", "access card")),
    ("Which travel agency has to be used for bookings?", ("travel agen", "travel agency")),
    ("How much of a bicycle lease does the company pay?", ("bicycle", "bike", "cycling")),
    ("When are laptops replaced by newer ones?", ("laptop", "notebook computer")),
    ("Who is the first aider on my floor?", ("first aid",)),
    ("How many flu shots are offered in autumn?", ("flu", "vaccin")),
    ("What is the dog policy for the meeting rooms?", ("dog", "pets")),
    ("How high is the fee for printing private documents?", ("printing", "printer")),
    ("Which day is the weekly fire alarm test?", ("fire alarm", "fire drill", "evacuat")),
    ("What is the bonus for working night shifts?", ("night shift", "shift")),
    ("How many days may I carry over into the next year at most?", ("carry over", "carryover", "roll over")),
    ("How high is the bonus at the end of the year?", ("year-end", "end of year", "christmas bonus", "annual bonus")),
    ("Who signs the certificate of employment?", ("certificate of employment", "reference letter")),
    ("How long is the mentoring programme for new managers?", ("mentor",)),
)  # fmt: skip
"""What people ask at work, with beginnings of words any of which may answer it."""
