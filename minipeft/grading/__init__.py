"""Grading what learners handed in: each submission becomes one result, and everything else is made from results.

    FILE | DIR | ZIP | notebook  --handed_in-->  Handed  --grade, through nursery-->  result  --result.write-->  .json
    result   --emit-->  Gradescope, GitHub Classroom                    --page-->  the learner's page
    results  --emit-->  JUnit, nbgrader's CSV, the class as a CSV       --page-->  the class's page

Imports point one way: grading knows `minipeft.course`, which knows nothing of grading.
What a result holds is written down in schema.json, and `result.read` holds every result to it.
"""
