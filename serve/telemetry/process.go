package telemetry

import (
	"context"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// measureProcess counts the CPU time of this process, which the Go runtime does not know exactly.
func measureProcess(meter metric.Meter) error {
	user := metric.WithAttributeSet(attribute.NewSet(attribute.String("cpu.mode", "user")))
	system := metric.WithAttributeSet(attribute.NewSet(attribute.String("cpu.mode", "system")))
	_, err := meter.Float64ObservableCounter("process.cpu.time", metric.WithUnit("s"), metric.WithDescription("CPU time of this process."),
		metric.WithFloat64Callback(func(_ context.Context, observer metric.Float64Observer) error {
			var used syscall.Rusage
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
				return err
			}
			observer.Observe(seconds(used.Utime), user)
			observer.Observe(seconds(used.Stime), system)
			return nil
		}))
	return err
}

func seconds(t syscall.Timeval) float64 { return time.Duration(t.Nano()).Seconds() }
