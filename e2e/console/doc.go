// Package console drives the web console in a headless Chromium as a person would: by what is written on the page, by keyboard and by pointer.
// The test tells the story and does what is done outside of the browser; drive.mjs, a process of Node, passes what is asked on to the browser.
// Screenshots go to .tools/console. Without Node or Chromium the tests say that they are skipped; scripts/browser installs both.
// Nothing here knows how the pages are built.
// Read: console_test.go, origin_test.go, browser_test.go, drive.mjs.
package console
