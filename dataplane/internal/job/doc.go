// Package job does work on the bucket that the control plane plans: checkpoints, deletion of objects that nothing refers to, sweeping for objects that
// nobody knows. One runner asks for work and gives each kind's to its handler.
//
// A job may be cut short at any moment, here or by a crash: whoever takes it over begins it anew, and every step of it may be done twice. Whoever has lost
// a job (JOB_LOST) leaves it at once; what it still does, like a delete that is on its way, was right for ever when it was begun.
//
// A new database, or one that was restored and went back in time, may stand before the bucket of the catalog that it replaces. The newest checkpoint in the
// bucket gives that away; whoever finds one that is not the catalog's writes no checkpoint and sweeps nothing, until an operator has recovered or adopted.
//
// Not here: what is due, what may be deleted (the control plane decides both), the path of records.
// Promises: P8 (an object is deleted only when the control plane has said that it is dead), P9 (checkpoints).
// Read: runner.go, measure.go, delete.go, sweep.go, checkpoint.go, foreign.go.
package job
