import java.awt.*;
import java.awt.event.InputEvent;
import java.awt.image.BufferedImage;
import java.io.*;
import java.lang.reflect.Array;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import javax.imageio.ImageIO;
import javax.swing.*;

/**
 * A Java agent through which the tests operate a Swing program as a person would, without a window manager.
 *
 * It listens on a port of loopback. A request is one line, a command and its arguments separated by tabs; the answer is
 * one line, "ok" or "no", a tab, and text in which a backslash and a line end are written \\ and \n. Arguments that name
 * a window or a button are compared with what the screen shows.
 */
public final class DesktopAgent {
    private DesktopAgent() {}

    public static void premain(String port) throws IOException {
        ServerSocket server = new ServerSocket(Integer.parseInt(port), 5, InetAddress.getLoopbackAddress());
        Thread thread = new Thread(() -> listen(server), "desktop agent");
        thread.setDaemon(true);
        thread.start();
    }

    private static void listen(ServerSocket server) {
        while (true) {
            try (Socket socket = server.accept();
                    BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
                    Writer out = new OutputStreamWriter(socket.getOutputStream(), StandardCharsets.UTF_8)) {
                for (String line = in.readLine(); line != null; line = in.readLine()) {
                    out.write(answer(line.split("\t", -1)).replace("\\", "\\\\").replace("\n", "\\n") + "\n");
                    out.flush();
                }
            } catch (IOException e) {
                // the test hung up; the next one may call
            }
        }
    }

    private static String answer(String[] words) {
        try {
            // The mouse must not be moved from the event thread: its events would wait for themselves.
            boolean mouse = words[0].equals("drag") || words[0].equals("photograph");
            return "ok\t" + (mouse ? perform(words) : onEventThread(() -> perform(words)));
        } catch (Exception e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            return "no\t" + cause;
        }
    }

    private static <T> T onEventThread(Callable<T> action) throws Exception {
        FutureTask<T> task = new FutureTask<>(action);
        SwingUtilities.invokeLater(task);
        return task.get(20, TimeUnit.SECONDS);
    }

    private static String perform(String[] w) throws Exception {
        switch (w[0]) {
            case "windows":
                return describe(List.of(Window.getWindows()));
            case "components":
                return describe(components(window(w[1])));
            case "press": {
                AbstractButton button = button(w[1], w[2]);
                SwingUtilities.invokeLater(() -> button.doClick(0)); // a dialog would keep us waiting
                return "";
            }
            case "switch": { // a check box or toggle to a state
                AbstractButton button = button(w[1], w[2]);
                if (button.isSelected() != Boolean.parseBoolean(w[3])) {
                    button.doClick(0);
                }
                return String.valueOf(button.isSelected());
            }
            case "cells":
                return cells(window(w[1]));
            case "choose":
                return choose(window(w[1]), w[2]);
            case "tick": { // the check box that a row of a list holds
                JList<?> list = only(window(w[1]), JList.class, Integer.parseInt(w[2]));
                Object row = list.getModel().getElementAt(Integer.parseInt(w[3]));
                AbstractButton box = (AbstractButton) row.getClass().getMethod("getCheckBox").invoke(row);
                if (box.isSelected() != Boolean.parseBoolean(w[4])) {
                    box.doClick(0);
                }
                return String.valueOf(box.isSelected());
            }
            case "fill": { // the n-th text field of a window
                JTextField field = only(window(w[1]), JTextField.class, Integer.parseInt(w[2]));
                field.setText(w[3]);
                if (field.getParent() instanceof JComboBox) {
                    ((JComboBox<?>) field.getParent()).setSelectedItem(w[3]);
                }
                return "";
            }
            case "place": {
                Window window = window(w[1]);
                window.setBounds(number(w[2]), number(w[3]), number(w[4]), number(w[5]));
                window.validate();
                window.toFront();
                return "";
            }
            case "hide":
                window(w[1]).setVisible(false);
                return "";
            case "value": { // of the program, by class and fields from a static one, or items; of a collection its size
                Object value = null;
                for (int i = 2; i < w.length; i++) {
                    if (value != null && value.getClass().isArray()) {
                        value = Array.get(value, number(w[i]));
                    } else {
                        Class<?> type = value == null ? Class.forName(w[1]) : value.getClass();
                        value = field(type, w[i]).get(value);
                    }
                }
                return String.valueOf(value instanceof Collection ? ((Collection<?>) value).size() : value);
            }
            case "drag":
                return drag(w);
            case "photograph": {
                BufferedImage image =
                        new Robot().createScreenCapture(new Rectangle(number(w[2]), number(w[3]), number(w[4]), number(w[5])));
                ImageIO.write(image, "png", new File(w[1]));
                return "";
            }
            default:
                throw new IllegalArgumentException("no command " + w[0]);
        }
    }

    private static java.lang.reflect.Field field(Class<?> type, String name) throws NoSuchFieldException {
        for (Class<?> c = type; c != null; c = c.getSuperclass()) {
            for (java.lang.reflect.Field field : c.getDeclaredFields()) {
                if (field.getName().equals(name)) {
                    field.setAccessible(true);
                    return field;
                }
            }
        }
        throw new NoSuchFieldException(type + " " + name);
    }

    private static int number(String text) {
        return Integer.parseInt(text);
    }

    /** Press the mouse in a component and let it go elsewhere; places are fractions of its width and height. */
    private static String drag(String[] w) throws Exception {
        Rectangle box = onEventThread(() -> {
            for (Component c : components(window(w[1]))) {
                if (c.isShowing() && c.getClass().getName().endsWith(w[2])) {
                    return new Rectangle(c.getLocationOnScreen(), c.getSize());
                }
            }
            throw new NoSuchElementException("no component " + w[2] + " in " + w[1]);
        });
        double[] at = {0, 0, 0, 0};
        for (int i = 0; i < 4; i++) {
            at[i] = Double.parseDouble(w[3 + i]);
        }
        Robot robot = new Robot();
        robot.setAutoDelay(40);
        for (int step = 0; step <= 8; step++) {
            double f = step / 8.0;
            robot.mouseMove(
                    (int) (box.x + box.width * (at[0] + f * (at[2] - at[0]))),
                    (int) (box.y + box.height * (at[1] + f * (at[3] - at[1]))));
            if (step == 0) {
                robot.mousePress(InputEvent.BUTTON1_DOWN_MASK);
            }
        }
        robot.mouseRelease(InputEvent.BUTTON1_DOWN_MASK);
        return box.toString();
    }

    private static String title(Window window) {
        if (window instanceof Frame) {
            return String.valueOf(((Frame) window).getTitle());
        }
        return window instanceof Dialog ? String.valueOf(((Dialog) window).getTitle()) : window.getClass().getName();
    }

    /** The window of that title, else one with the text in its title: TOPCAT's have the table's number in front. */
    private static Window window(String name) {
        Window found = null;
        for (Window window : Window.getWindows()) {
            if (window.isShowing() && title(window).equals(name)) {
                return window;
            }
            if (window.isShowing() && title(window).contains(name)) {
                found = window;
            }
        }
        if (found == null) {
            throw new NoSuchElementException("no window " + name);
        }
        return found;
    }

    private static List<Component> components(Container root) {
        List<Component> found = new ArrayList<>();
        collect(root, found);
        return found;
    }

    private static void collect(Component component, List<Component> found) {
        found.add(component);
        if (component instanceof JMenu) {
            for (Component item : ((JMenu) component).getMenuComponents()) {
                collect(item, found);
            }
        } else if (component instanceof Container) {
            for (Component child : ((Container) component).getComponents()) {
                collect(child, found);
            }
        }
    }

    private static <T> T only(Window window, Class<T> type, int number) {
        int count = 0;
        for (Component component : components(window)) {
            if (type.isInstance(component) && component.isShowing() && count++ == number) {
                return type.cast(component);
            }
        }
        throw new NoSuchElementException("no " + type.getSimpleName() + " number " + number + " in " + title(window));
    }

    private static String label(AbstractButton button) {
        if (button.getText() != null && !button.getText().isEmpty()) {
            return button.getText();
        }
        Object name = button.getAction() == null ? null : button.getAction().getValue(Action.NAME);
        return name != null ? name.toString() : String.valueOf(button.getToolTipText());
    }

    private static AbstractButton button(String window, String label) {
        for (Component component : components(window(window))) {
            if (component instanceof AbstractButton
                    && !(component instanceof JMenu)
                    && component.isEnabled()
                    && label(((AbstractButton) component)).equals(label)) {
                return (AbstractButton) component;
            }
        }
        throw new NoSuchElementException("no enabled button " + label + " in " + window);
    }

    private static String describe(List<? extends Component> components) {
        StringBuilder text = new StringBuilder();
        for (Component c : components) {
            if (!c.isShowing() && !(c instanceof JMenuItem)) {
                continue;
            }
            text.append(c.getClass().getName()).append('\t');
            if (c instanceof Window) {
                text.append(title((Window) c));
            } else if (c instanceof AbstractButton) {
                text.append(label((AbstractButton) c)).append('\t').append(c.isEnabled()).append('\t');
                text.append(((AbstractButton) c).isSelected());
            } else if (c instanceof JLabel) {
                text.append(((JLabel) c).getText());
            } else if (c instanceof javax.swing.text.JTextComponent) {
                text.append(((javax.swing.text.JTextComponent) c).getText());
            }
            text.append('\t').append(c.getBounds()).append('\n');
        }
        return text.toString();
    }

    /** What the tables and lists of a window show, a row a line. */
    private static String cells(Window window) {
        StringBuilder text = new StringBuilder();
        for (Component component : components(window)) {
            if (!component.isShowing()) {
                continue;
            }
            if (component instanceof JTable) {
                JTable table = (JTable) component;
                for (int row = 0; row < Math.min(table.getRowCount(), 100); row++) {
                    for (int column = 0; column < table.getColumnCount(); column++) {
                        text.append(table.getValueAt(row, column)).append('\t');
                    }
                    text.append('\n');
                }
            } else if (component instanceof JList) {
                ListModel<?> model = ((JList<?>) component).getModel();
                for (int row = 0; row < model.getSize(); row++) {
                    text.append(model.getElementAt(row)).append('\n');
                }
            }
        }
        return text.toString();
    }

    /** Select the first row of a table or list of the window that shows a text, or the row "#n" of the first of them. */
    private static String choose(Window window, String what) {
        int wanted = what.startsWith("#") ? number(what.substring(1)) : -1;
        for (Component component : components(window)) {
            if (!component.isShowing()) {
                continue;
            }
            if (component instanceof JTable && !component.getClass().getName().contains("ColumnHeader")) {
                JTable table = (JTable) component;
                for (int row = 0; row < table.getRowCount(); row++) {
                    boolean hit = row == wanted;
                    for (int column = 0; column < table.getColumnCount() && !hit && wanted < 0; column++) {
                        hit = what.equals(String.valueOf(table.getValueAt(row, column)));
                    }
                    if (hit) {
                        table.setRowSelectionInterval(row, row);
                        return String.valueOf(row);
                    }
                }
            } else if (component instanceof JList) {
                JList<?> list = (JList<?>) component;
                for (int row = 0; row < list.getModel().getSize(); row++) {
                    if (row == wanted || what.equals(String.valueOf(list.getModel().getElementAt(row)))) {
                        list.setSelectedIndex(row);
                        return String.valueOf(row);
                    }
                }
            }
        }
        throw new NoSuchElementException("nothing shows " + what + " in " + title(window));
    }
}
